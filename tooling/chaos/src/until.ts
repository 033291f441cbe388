import { setTimeout as delay } from 'node:timers/promises'

export interface UntilOptions {
  /** Milliseconds to wait at most. @default 60000 */
  readonly timeout?: number
  /** What is waited for, for the message when it does not come. */
  readonly what?: string
}

/** Asks `condition` until it answers something truthy, and answers that. Throws when the time is over. */
export async function until<T>(
  condition: () => T | Promise<T>,
  { timeout = 60_000, what = condition.toString() }: UntilOptions = {},
): Promise<NonNullable<T>> {
  const end = performance.now() + timeout
  for (;;) {
    const answer = await condition()
    if (answer) return answer
    if (performance.now() > end) throw new Error(`Not within ${timeout} ms: ${what}`)
    await delay(20)
  }
}
