import { setTimeout as delay } from 'node:timers/promises'

/** Asks until the answer is yes; false when the time is up before that. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
  intervalMs = 20,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() >= deadline) return false
    await delay(intervalMs)
  }
  return true
}
