import { setTimeout as delay } from 'node:timers/promises'
import { DatabaseError, HoldfastError, LeaseExpiredError } from '@holdfast/core'

/** Milliseconds between tries while the database is away. */
const RETRY = 500

/** Postgres's classes of errors that are in the statement: wrong data, a broken constraint, a missing column, a trigger's. */
const OWN_FAULT = /^(22|23|42|P0)/

/** Whether a value can't be written into the database, whatever the database's state. */
export const isOwnFault = (error: unknown): boolean =>
  error instanceof TypeError || OWN_FAULT.test(String((error as { code?: unknown } | null)?.code))

/**
 * Repeats `work` for up to `ms` milliseconds, since a database that is away comes back. What can't be written stays so,
 * and what else Holdfast refuses.
 *
 * @param until gives up too when it aborts
 */
export async function patiently<T>(work: () => Promise<T>, ms: number, until?: AbortSignal): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const isOutage = DatabaseError.is(error) || LeaseExpiredError.is(error)
      const isPassing = isOutage || !(HoldfastError.is(error) || isOwnFault(error))
      if (!isPassing || until?.aborted || performance.now() > deadline) throw error
      await delay(RETRY)
    }
  }
}
