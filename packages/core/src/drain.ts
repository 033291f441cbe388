import { setTimeout as delay } from 'node:timers/promises'
import { show } from './check-options.js'
import { MAX_TIMER } from './clock.js'
import { ConfigError } from './errors.js'

/** Milliseconds that adapters have, once the drain is over, to tell their queues what has ended. */
const PARTING = 1_500

/** What is to end within a drain; each gets a signal that aborts when that is over. */
export interface Draining {
  /** Has adapters take no more. Never rejects. */
  tell(over: AbortSignal): Promise<void>
  /** Waits for what is in flight then. */
  wait(over: AbortSignal): Promise<unknown>
}

/** Waits up to `ms` (Infinity: to the end), and a moment longer for adapters. */
export async function drainWork(ms: number, { tell, wait }: Draining): Promise<void> {
  const over = new AbortController()
  const timer = ms > MAX_TIMER ? undefined : setTimeout(() => over.abort(), ms)
  const timedOut = new Promise<void>((resolve) => over.signal.addEventListener('abort', () => resolve()))
  const told = tell(over.signal)
  await Promise.race([told.then(() => wait(over.signal)), timedOut])
  clearTimeout(timer)
  over.abort()
  await Promise.race([told, delay(PARTING, undefined, { ref: false })])
}

export function drainProblem(drain: unknown = 0): ConfigError | undefined {
  if (typeof drain === 'number' && drain >= 0) return undefined
  return new ConfigError(`drain must be a number of milliseconds, or Infinity: ${show(drain)}`)
}
