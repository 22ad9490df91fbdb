// Entry point of the page.
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { keepForOffline } from './browser/offlineShell';
import './styles/index.css';

// The page sets its scroll position itself: the end of a conversation, the top of other pages.
history.scrollRestoration = 'manual';

const root = document.getElementById('root');
if (!root) throw new Error('The page has no #root to draw in.');
createRoot(root).render(<App />);
keepForOffline();
