// A long conversation is drawn from its end, in portions.
import { act, renderHook } from '@testing-library/react';
import { expect, it, vi } from 'vitest';
import { useProgressiveRender } from '../src/components/useProgressiveRender';

it('draws the end of a long list at once and the rest soon, a little at a time', () => {
  vi.useFakeTimers();
  const { result } = renderHook(() => useProgressiveRender(1000));
  const hidden = [result.current];
  while (result.current > 0) {
    act(() => void vi.advanceTimersByTime(16));
    hidden.push(result.current);
  }
  expect(hidden[0]).toBeGreaterThan(900);
  expect(hidden[0]).toBeLessThan(1000);
  expect(hidden.length).toBeGreaterThan(50);
});

it('draws a short list whole', () => {
  expect(renderHook(() => useProgressiveRender(5)).result.current).toBe(0);
});
