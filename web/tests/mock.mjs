// A receiver with generated data: the built page, its headers, and the read API.
//
//   node tests/mock.mjs [--port 7711] [--nodes 40] [--pods 400] [--api http://127.0.0.1:7643]
//
// With --api, /api is asked of a real receiver.

import { createReadStream } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { fileURLToPath } from 'node:url';
import { answer, EVIL, makeState } from './data.mjs';

export { EVIL, makeState };

const BUILT = fileURLToPath(new URL('../../src/receiver/web/', import.meta.url));
const FILES = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/assets/app.js': ['app.js', 'text/javascript; charset=utf-8'],
  '/assets/app.css': ['app.css', 'text/css; charset=utf-8'],
};
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:";

function serve(state, api) {
  return (request, response) => {
    const url = new URL(request.url, 'http://mock');
    const file = FILES[url.pathname];
    if (file) {
      const headers = { 'Content-Type': file[1], 'Content-Security-Policy': CSP };
      response.writeHead(200, headers);
      createReadStream(BUILT + file[0]).pipe(response);
      return;
    }
    if (api) {
      const { hostname, port } = new URL(api);
      const passed = ask({ hostname, port, path: request.url }, (from) => {
        response.writeHead(from.statusCode, from.headers);
        from.pipe(response);
      });
      passed.on('error', () => response.destroy());
      passed.end();
      return;
    }
    state.asked.push(request.url);
    const send = (status, body, headers = {}) => {
      response.writeHead(status, {
        'Content-Type': 'application/json',
        'Cache-Control': 'no-store',
        ...headers,
      });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    };
    if (state.fail === 'hang up') return void response.destroy();
    if (state.token !== null && request.headers.authorization !== `Bearer ${state.token}`) {
      return send(401, { error: 'unauthorized' }, { 'WWW-Authenticate': 'Bearer' });
    }
    if (state.fail) return send(...state.fail);
    send(...answer(state, url.pathname, url.searchParams));
  };
}

/** Starts a mock on a free port. */
export async function start(state, { port = 0, api } = {}) {
  const server = createServer(serve(state, api));
  await new Promise((ready) => server.listen(port, '127.0.0.1', ready));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => server.close() || server.closeAllConnections(),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name, otherwise) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? otherwise : process.argv[at + 1];
  };
  const state = makeState({
    nodes: Number(option('nodes', 40)),
    pods: Number(option('pods', 400)),
  });
  const { url } = await start(state, { port: Number(option('port', 7711)), api: option('api') });
  console.log(url);
}
