import { availableParallelism, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

/** Milliseconds that a wait lasts at most, on a machine with nothing else to do: longer than any poll of a queue's. */
const PATIENCE = 90_000

/** Milliseconds between two looks at least. */
const INTERVAL = 20

/** A look that takes long is repeated the more rarely, so that who waits keeps nobody from what they wait for. */
const PAUSE = 4

export interface UntilOptions {
  /** Milliseconds to wait at most, on a machine with nothing else to do. @default 90000 */
  readonly timeout?: number | undefined
  /** What is waited for, for the message when it does not come. */
  readonly what?: string | (() => string)
}

/** How many there are to each core that want it, at least 1, over the last minute. */
const crowding = (): number => Math.max(1, loadavg()[0]! / availableParallelism())

/** How long `ms` milliseconds of a machine with nothing else to do are on this one now. */
export const patience = (ms: number): number => ms * crowding()

/** Asks `condition` until it answers something truthy, and answers that. Throws when the time is over. */
export async function until<T>(
  condition: () => T | Promise<T>,
  { timeout = PATIENCE, what = condition.toString() }: UntilOptions = {},
): Promise<NonNullable<T>> {
  const start = performance.now()
  for (;;) {
    const asked = performance.now()
    const answer = await condition()
    if (answer) return answer
    const now = performance.now()
    if (now - start > patience(timeout)) {
      const missing = typeof what === 'string' ? what : what()
      throw new Error(`Not within ${Math.round(now - start)} ms: ${missing}`)
    }
    await delay(Math.max(INTERVAL, PAUSE * (now - asked)))
  }
}
