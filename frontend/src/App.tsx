// Maps the address to a page.
import { routeOf } from './browser/navigation';
import { ErrorBoundary } from './components/ErrorBoundary';
import { ChatPage } from './pages/ChatPage';
import { HomePage } from './pages/HomePage';
import { UnknownPage } from './pages/UnknownPage';
import { usePath } from './pages/usePath';

export function App() {
  const path = usePath();
  return <ErrorBoundary key={path}><Page path={path} /></ErrorBoundary>;
}

function Page({ path }: { path: string }) {
  const route = routeOf(path);
  switch (route.page) {
    case 'home':
      return <HomePage />;
    case 'chat':
      return <ChatPage key={route.token} token={route.token} />;
    case 'unknown':
      return <UnknownPage />;
  }
}
