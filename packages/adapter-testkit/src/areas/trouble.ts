import assert from 'node:assert/strict'
import type { QueueAdapter } from '@holdfast/core'
import type { Fleet } from '../fleet.js'
import type { TestQueue } from '../setup.js'
import { area, type Suite } from '../suite.js'
import { addMany, runsOnceMore } from './once.js'

const UNDONE = 'undone by the kit after its recovery'

/** Lets the adapter recover, and then has it fail for as long as `failing` says. */
const undoing =
  (failing: () => boolean) =>
  (adapter: QueueAdapter): QueueAdapter =>
    Object.freeze<QueueAdapter>({
      ...adapter,
      async recover(jobs, context) {
        const outcomes = await adapter.recover(jobs, context)
        if (failing()) throw new Error(UNDONE)
        return outcomes
      },
    })

/** Recovers again and again, however long the pauses after failures are. */
async function recoverAll(
  fleet: Fleet,
  monitor: { cleanupOrphanedTasks(): Promise<unknown> },
): Promise<void> {
  await fleet.until(async () => {
    await monitor.cleanupOrphanedTasks()
    return (await fleet.records.tasks()).length === 0
  }, 'every task is recovered')
}

/** What fails, fails alone, is told, and is tried again. */
export function trouble<Queue extends TestQueue>(suite: Suite<Queue>): void {
  area(
    suite,
    'a batch with a bad job in it',
    async (fleet) => {
      const failures: string[] = []
      const monitor = await fleet.monitor()
      monitor.on('recoveryFailed', ({ jobRef, error }) => failures.push(`${jobRef}: ${error}`))
      const { processId, jobs } = await fleet.victim(await addMany(fleet, 9, { gate: 'again' }))
      const [bad] = jobs.slice(4)
      await fleet.records.spoil(bad!.jobRef)
      await fleet.recover(monitor, processId)
      return { bad: bad!, good: jobs.filter((job) => job !== bad), failures, processId }
    },
    (it) => {
      it('is recovered but for that one', async (fleet, { good }) => {
        await runsOnceMore(fleet, good)
      })

      it('keeps that one, with what went wrong', async (fleet, { bad, failures, processId }) => {
        const kept = await fleet.records.tasksOf(processId)
        assert.deepEqual(
          kept.map(({ jobRef }) => jobRef),
          [bad.jobRef],
        )
        assert.notEqual(kept[0]!.lastError, null)
        assert.ok(
          failures.some((failure) => failure.startsWith(`${bad.jobRef}: `)),
          failures.join(),
        )
      })
    },
  )

  area(
    suite,
    'a recovery that is undone after the adapter has answered',
    async (fleet) => {
      let failing = true
      const monitor = await fleet.monitor({ around: undoing(() => failing) })
      const { processId, jobs } = await fleet.victim(await addMany(fleet, 3, { gate: 'again' }))
      const states = async () => Promise.all(jobs.map((job) => fleet.state(job)))
      const before = await states()
      await fleet.recover(monitor, processId)
      const after = await states()
      const kept = await fleet.records.tasksOf(processId)
      failing = false
      const { atomicRecovery: atomic } = await fleet.capabilities()
      return { atomic, before, after, kept, monitor, jobs }
    },
    (it) => {
      it('leaves the queue as it was if, and only if, atomicRecovery is declared', async (_, {
        atomic,
        before,
        after,
      }) => {
        if (atomic) assert.deepEqual(after, before)
        else assert.notDeepEqual(after, before, 'nothing of it stayed: declare atomicRecovery')
      })

      it('keeps the tasks, with what went wrong', async (_, { kept }) => {
        assert.equal(kept.length, 3)
        for (const { lastError } of kept) assert.match(String(lastError), new RegExp(UNDONE))
      })

      it('is done once in the end', async (fleet, { monitor, jobs }) => {
        await recoverAll(fleet, monitor)
        await runsOnceMore(fleet, jobs)
      })
    },
  )

  area(
    suite,
    'a queue that can’t be reached',
    async (fleet) => {
      const failures: string[] = []
      const monitor = await fleet.monitor()
      monitor.on('recoveryFailed', ({ error }) => failures.push(error))
      monitor.on('error', (error) => failures.push(error.message))
      const { atomicRecovery } = await fleet.capabilities()
      const { processId, jobs } = await fleet.victim(await addMany(fleet, 3, { gate: 'again' }))
      return { monitor, atomicRecovery, processId, jobs, failures }
    },
    (it) => {
      it('by refused connections keeps the tasks, and it is told', async (fleet, arranged) => {
        const { monitor, atomicRecovery, processId, failures } = arranged
        // In the monitor's own database the queue can't be away alone.
        if (atomicRecovery) return
        assert.ok(
          fleet.proxies.length > 0,
          'setup() must have the adapters of connect() go through `proxy(url)`',
        )
        for (const proxy of fleet.proxies) proxy.cut()
        await fleet.until(async () => {
          await monitor.cleanupOrphanedTasks()
          return failures.length > 0
        }, 'a failed recovery is told')
        assert.equal((await fleet.records.tasksOf(processId)).length, 3)
        for (const proxy of fleet.proxies) proxy.mend()
      })

      it('by silence keeps no sweep for longer than the GC lock is held', async (fleet, arranged) => {
        const { monitor, atomicRecovery, processId } = arranged
        if (atomicRecovery) return
        for (const proxy of fleet.proxies) proxy.freeze()
        const begun = performance.now()
        await monitor.cleanupOrphanedTasks()
        assert.ok(performance.now() - begun < 20_000, 'a sweep of 20 s, with a gcLockTtl of 3 s')
        assert.equal((await fleet.records.tasksOf(processId)).length, 3)
        for (const proxy of fleet.proxies) proxy.mend()
      })

      it('has each job brought back once when it is there again', async (fleet, { monitor, jobs }) => {
        await recoverAll(fleet, monitor)
        await runsOnceMore(fleet, jobs)
      })
    },
  )
}
