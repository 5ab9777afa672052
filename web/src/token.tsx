import { useState } from 'preact/hooks';
import { access, tryToken } from './api';

/** Asks for the token that the server wants. */
export function TokenForm() {
  const [token, setToken] = useState('');
  const { state } = access.use();
  return (
    <form
      class="token"
      onSubmit={(event) => {
        event.preventDefault();
        if (token.trim()) tryToken(token.trim());
      }}
    >
      <h1 tabIndex={-1}>Token</h1>
      <p role="alert">
        {state === 'refused' ? 'The server refused this token.' : 'The server asks for a token.'}
      </p>
      <label for="token">Token</label>
      <input
        id="token"
        type="password"
        autocomplete="off"
        value={token}
        onInput={(event) => setToken(event.currentTarget.value)}
      />
      <button type="submit">Use it</button>
      <p class="note">It is kept in this tab until you close it.</p>
    </form>
  );
}
