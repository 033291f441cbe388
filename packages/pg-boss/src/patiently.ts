import { setTimeout as delay } from 'node:timers/promises'
import { DatabaseError, HoldfastError, LeaseExpiredError } from '@holdfast/core'

/** Milliseconds between tries while the database is away. */
const RETRY = 500

/**
 * Repeats `work` for up to `ms` milliseconds, since a database that is away comes back. What else Holdfast refuses stays
 * refused.
 *
 * @param until gives up too when it aborts
 */
export async function patiently<T>(work: () => Promise<T>, ms: number, until?: AbortSignal): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const isPassing = !HoldfastError.is(error) || DatabaseError.is(error) || LeaseExpiredError.is(error)
      if (!isPassing || until?.aborted || performance.now() > deadline) throw error
      await delay(RETRY)
    }
  }
}
