// Counts down the seconds until a moment. Empty when the moment has passed.
import { useEffect, useState } from 'react';

const secondsTo = (until: number) => Math.max(0, Math.ceil((until - Date.now()) / 1000));

export function Countdown({ action, until }: { action: string; until: number }) {
  const [seconds, setSeconds] = useState(() => secondsTo(until));
  useEffect(() => {
    const tick = () => setSeconds(secondsTo(until));
    tick();
    const timer = setInterval(tick, 250);
    return () => clearInterval(timer);
  }, [until]);
  return seconds > 0 ? <span className="countdown">{` ${action} in ${seconds} s.`}</span> : null;
}
