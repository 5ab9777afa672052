import { render } from 'preact';
import { App } from './app';
import { followAddress } from './route';
import './style/page.css';
import './style/table.css';
import './style/entity.css';
import './style/narrow.css';
import { followTheme } from './theme';

followTheme();
followAddress();
const root = document.getElementById('app');
if (root) render(<App />, root);
