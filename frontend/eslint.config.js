// The rules of the page's code; above all, that its rooms import one way.
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

/** Each room may import only from those above it. A room is a folder of src, or a file without its ending. */
const ROOMS = [
  'protocol',
  'backoff',
  'connection',
  'conversation',
  'browser',
  'outbox',
  'store',
  'useConversation',
  'components',
  'pages',
  'App',
  'main',
];

/** From here on down React is known. */
const BRIDGE = ROOMS.indexOf('useConversation');

const REACT = {
  group: ['react', 'react/*', 'react-dom', 'react-dom/*'],
  message: 'The core knows no React.',
};

const roomRules = ROOMS.map((room, at) => {
  const below = ROOMS.slice(at + 1).flatMap((later) => [`**/${later}`, `**/${later}/**`]);
  const order = { group: below, message: `Only what stands below \`${room}\` in eslint.config.js imports this.` };
  const patterns = [...(below.length > 0 ? [order] : []), ...(at < BRIDGE ? [REACT] : [])];
  return {
    files: [`src/${room}/**/*.{ts,tsx}`, `src/${room}.{ts,tsx}`],
    rules: { 'no-restricted-imports': ['error', { patterns }] },
  };
});

export default tseslint.config(
  { ignores: ['dist'] },
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'react-hooks': reactHooks },
    rules: {
      ...reactHooks.configs.recommended.rules,
      // Words and numbers in one template are plain enough.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `() => act()` is how a callback that gives nothing back is written here.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
    },
  },
  ...roomRules,
);
