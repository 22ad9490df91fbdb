// Lint rules of the page. Most important: the modules import in one direction.
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

/** Each module may import only from those above it. A module is a folder of src, or a file without its extension. */
const MODULES = [
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

/** Modules from here on may import React. */
const FIRST_WITH_REACT = MODULES.indexOf('useConversation');

const REACT = {
  group: ['react', 'react/*', 'react-dom', 'react-dom/*'],
  message: 'The core must not import React.',
};

/** React keeps such text in a node of its own. A browser's translator replaces that node, and React then fails. */
const TEXT_BESIDE_EXPRESSION = {
  selector: ':matches(JSXElement, JSXFragment):has(> JSXText[value=/\\S/]):has(> JSXExpressionContainer)',
  message: 'Give text beside an expression an element of its own, or use one template string.',
};
const COMPONENT_OF_TEXT = {
  selector: 'FunctionDeclaration[id.name=/^[A-Z]/] ReturnStatement > :matches(Literal[value=/./], TemplateLiteral)',
  message: 'A component returns an element around its text.',
};

const importRules = MODULES.map((module, at) => {
  const below = MODULES.slice(at + 1).flatMap((later) => [`**/${later}`, `**/${later}/**`]);
  const order = { group: below, message: `Only modules below \`${module}\` in eslint.config.js may import this.` };
  const patterns = [...(below.length > 0 ? [order] : []), ...(at < FIRST_WITH_REACT ? [REACT] : [])];
  return {
    files: [`src/${module}/**/*.{ts,tsx}`, `src/${module}.{ts,tsx}`],
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
      // Numbers in templates are fine.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Allows `() => act()` for callbacks that return nothing.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      'no-restricted-syntax': ['error', TEXT_BESIDE_EXPRESSION, COMPONENT_OF_TEXT],
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
    },
  },
  ...importRules,
);
