// Where the page starts.
import { createRoot } from 'react-dom/client';
import { App } from './App';
import './styles/index.css';

// The page itself decides where it stands: at the end of a conversation, at the top elsewhere.
history.scrollRestoration = 'manual';

const root = document.getElementById('root');
if (!root) throw new Error('The page has no #root to draw in.');
createRoot(root).render(<App />);
