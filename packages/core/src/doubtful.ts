import { monotonicNow } from './clock.js'
import type { Incarnation } from './incarnation.js'
import { chunks, type Store } from './store/store.js'
import { deleteTasks, fatesOf, giveBackTask, givenBackOwner } from './store/tasks.js'

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
  await settlePending(store, incarnation)
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

/** Learns what became of transactions that tasks were completed in; by default of all of them. */
export async function settlePending(
  store: Store,
  incarnation: Incarnation,
  ids: readonly string[] = [...incarnation.pending.keys()],
): Promise<void> {
  // What is completed once more while the database is asked is another question, which this answer is not for.
  const asked = ids.flatMap((id) => incarnation.pending.get(id) ?? [])
  for (const some of chunks(asked)) {
    const fates = await fatesOf(
      store,
      incarnation.processId,
      some.map(({ handle }) => handle),
    )
    for (const ending of some) {
      const fate = fates.get(ending.handle.id)!
      if (fate !== 'open' && incarnation.pending.get(ending.handle.id) === ending) {
        incarnation.decided(ending, fate)
      }
    }
  }
}
