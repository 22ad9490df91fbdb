// Button that scrolls back to the end and counts the new messages there.

interface Props {
  unseen: number;
  onJump: () => void;
}

export function ScrollToEnd({ unseen, onJump }: Props) {
  const label = unseen > 0 ? `${unseen} new, jump to the end` : 'Jump to the end';
  return (
    <button type="button" className="scroll-to-end" aria-label={label} onClick={onJump}>
      <span aria-hidden="true">{unseen > 0 ? `${unseen} new ↓` : '↓'}</span>
    </button>
  );
}
