import { monotonicNow } from './clock.js'
import type { Incarnation } from './incarnation.js'
import { chunks, type Store } from './store/store.js'
import { deleteTasks, giveBackTask, givenBackOwner } from './store/tasks.js'

/**
 * Repeats the writes whose outcome is unknown and forgets those that are certain now. Whoever died in the middle of one
 * leaves a row that is recovered like any other.
 */
export async function settleDoubtful(
  store: Store,
  incarnation: Incarnation,
  recover: (owner: string) => Promise<void>,
): Promise<void> {
  const { processId, doubtful } = incarnation
  await incarnation.pending.askAll()
  if (doubtful.size === 0) return
  const all = [...doubtful]
  const now = monotonicNow()
  for (const some of chunks(all.filter(([, { kind }]) => kind !== 'release'))) {
    const ids = some.map(([id]) => id)
    await deleteTasks(store, processId, ids)
    for (const [id, settlement] of some) {
      if (settlement.kind !== 'unregister' || settlement.until < now) incarnation.forget(id)
    }
  }
  let failure: unknown
  for (const [id, settlement] of all) {
    if (settlement.kind !== 'release') continue
    try {
      const { cause, payload } = settlement
      await giveBackTask(store, processId, id, cause, payload)
      incarnation.forget(id)
      await recover(givenBackOwner(processId, cause))
    } catch (error) {
      // One that can't be released must not keep the others.
      failure ??= error
    }
  }
  if (failure !== undefined) throw failure
}
