import { inspect } from 'node:util'
import { TaskLostError } from '@holdfast/core'

/**
 * What a handler threw, as bee-queue can store it: it takes `undefined` and its like for success, and breaks off an end
 * that JSON can't hold.
 */
export function storableError(thrown: unknown): unknown {
  let said = thrown
  try {
    const { stack, message } = thrown as Error
    said = message ?? thrown // An error whose message is no text hides it from whoever inspects it.
    JSON.stringify(message)
    if (thrown && JSON.stringify(stack || message || thrown) !== undefined) return thrown
  } catch {
    // Told as text.
  }
  return new Error(`The handler threw no error that can be stored: ${show(said)}`, { cause: thrown })
}

function show(value: unknown): string {
  try {
    return inspect(value)
  } catch {
    return 'it can’t be shown either'
  }
}

/** Its handler had decided what becomes of the job before it threw. */
export const thrownTooLate = (id: string, became: 'completed' | 'released', cause: unknown): Error =>
  new Error(
    became === 'completed'
      ? `The handler of job ${id} failed after it had ended its task; the job has succeeded.`
      : `The handler of job ${id} failed after it had given its task back; the job runs again.`,
    { cause },
  )

/** Others have the job, or bee-queue can't be told of its end any more. */
export const endLost = (id: string, hasCommitted: boolean): Error =>
  new TaskLostError(
    hasCommitted
      ? `Job ${id} has committed, which bee-queue could not be told: it is no longer this process's, and runs again.`
      : `Job ${id} is no longer this process's: its end is discarded.`,
  )
