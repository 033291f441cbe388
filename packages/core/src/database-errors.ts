import { DatabaseError, HoldfastError, ReadOnlyDatabaseError } from './errors.js'
import { messageOf } from './events.js'
import type { Store } from './store/store.js'

/**
 * Runs `work` and names what failed.
 *
 * @throws ReadOnlyDatabaseError, DatabaseError with the driver's error as `cause`
 */
export async function withDatabaseErrors<T>(store: Store, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (HoldfastError.is(cause)) throw cause
    if (store.dialect.errorKind(cause) === 'read-only') {
      throw new ReadOnlyDatabaseError(
        `Could not ${what}: the database takes no writes (a standby?). Point db at the primary.`,
        { cause },
      )
    }
    throw new DatabaseError(`Could not ${what}: ${messageOf(cause)}`, { cause })
  }
}
