import { show } from './check-options.js'
import { MAX_TIMER } from './clock.js'
import { ConfigError } from './errors.js'

/** Waits for `work` up to `ms` (Infinity: to its end); the signal it gets aborts then. */
export async function drainWork(ms: number, work: (over: AbortSignal) => Promise<void>): Promise<void> {
  const over = new AbortController()
  const timer = ms > MAX_TIMER ? undefined : setTimeout(() => over.abort(), ms)
  const timedOut = new Promise<void>((resolve) => over.signal.addEventListener('abort', () => resolve()))
  await Promise.race([work(over.signal), timedOut])
  clearTimeout(timer)
  over.abort()
}

export function drainProblem(drain: unknown = 0): ConfigError | undefined {
  if (typeof drain === 'number' && drain >= 0) return undefined
  return new ConfigError(`drain must be a number of milliseconds, or Infinity: ${show(drain)}`)
}
