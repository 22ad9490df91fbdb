// Takes a person who scrolled up back to the end, and says how much is new there.

interface Props {
  unseen: number;
  onJump: () => void;
}

export function JumpToEnd({ unseen, onJump }: Props) {
  const label = unseen > 0 ? `${unseen} new, jump to the end` : 'Jump to the end';
  return (
    <button type="button" className="jump" aria-label={label} onClick={onJump}>
      <span aria-hidden="true">{unseen > 0 ? `${unseen} new ↓` : '↓'}</span>
    </button>
  );
}
