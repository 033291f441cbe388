import { setTimeout as delay } from 'node:timers/promises'

/** Milliseconds on the monotonic clock: the only clock that durations inside a process are measured with. */
export const monotonicNow = (): number => performance.now()

/** Node's timers take no more milliseconds than this. */
export const MAX_TIMER: number = 2 ** 31 - 1

/** `ms` give or take `fraction` of it, so that processes started together don't stay in step. */
export const jittered = (ms: number, fraction = 0.2): number =>
  ms * (1 - fraction + 2 * fraction * Math.random())

/** Waits `ms`, or until `signal` aborts. Resolves in both cases. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  try {
    await delay(ms, undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
