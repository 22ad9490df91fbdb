// Catches an error while the page renders, says so, and mounts the page again. Nothing is lost: what the person wrote
// is in the browser's storage, and everything else is on the server.
import { Component, Fragment, type ReactNode } from 'react';

interface State {
  failed: boolean;
  /** How often the page was mounted again. */
  restarts: number;
  /** Whether the last restart is still announced. */
  notice: boolean;
}

/** A second error within this time is not answered by mounting again at once, because it would go on for ever. */
const RESTART_INTERVAL_MS = 10_000;

/** How long the sentence about a restart stays. */
const NOTICE_MS = 8_000;

export class ErrorBoundary extends Component<{ children: ReactNode }, State> {
  override state: State = { failed: false, restarts: 0, notice: false };
  private lastError = -RESTART_INTERVAL_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;

  static getDerivedStateFromError(): Partial<State> {
    return { failed: true };
  }

  override componentDidCatch(): void {
    const now = performance.now();
    if (now - this.lastError >= RESTART_INTERVAL_MS) this.restart();
    this.lastError = now;
  }

  override componentWillUnmount(): void {
    clearTimeout(this.timer);
  }

  override render(): ReactNode {
    const { failed, restarts, notice } = this.state;
    if (failed) {
      return (
        <main className="home gone">
          <h1 ref={tell} tabIndex={-1}>Something went wrong on this page.</h1>
          <p className="lead">Nothing you sent is lost.</p>
          <button type="button" className="send" onClick={this.restart}>Show the page again</button>
        </main>
      );
    }
    return (
      <>
        <Fragment key={restarts}>{this.props.children}</Fragment>
        {notice && <p role="status" className="restarted">{RESTARTED}</p>}
      </>
    );
  }

  private readonly restart = (): void => {
    this.setState(({ restarts }) => ({ failed: false, restarts: restarts + 1, notice: true }));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.setState({ notice: false }), NOTICE_MS);
  };
}

/** The page disappears without an action of the person, so the focus moves to the explanation. */
function tell(heading: HTMLElement | null): void {
  if (heading === null) return;
  heading.focus();
  document.title = 'Something went wrong – Parley';
}

const RESTARTED = 'Something went wrong, and the page was restarted. Nothing is lost.';
