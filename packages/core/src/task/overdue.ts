import { TaskOverdueError } from '../errors.js'

/** For an adapter's hand-off: rejects when a task's `maxRuntime` is over, by its signal. Never resolves. */
export function overdue(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const look = (): void => {
      if (TaskOverdueError.is(signal.reason)) reject(signal.reason)
    }
    if (signal.aborted) look()
    signal.addEventListener('abort', look, { once: true })
  })
}
