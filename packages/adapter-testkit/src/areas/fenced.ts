import assert from 'node:assert/strict'
import type { TestQueue, Way } from '../setup.js'
import { area, type Suite } from '../suite.js'

/** The living dead: a process that was declared dead and does not know. */
export function fenced<Queue extends TestQueue>(suite: Suite<Queue>, way: Way): void {
  area(
    suite,
    `a process that stood still for longer than its lease (${way})`,
    async (fleet) => {
      const monitor = await fleet.monitor()
      const zombie = await fleet.worker({ way })
      const job = await fleet.add({ gate: 'end' })
      await fleet.started(job, 1)
      if (way === 'handOff') await fleet.ended(job)
      zombie.pause()
      await fleet.recover(monitor, zombie.processId)
      const heir = await fleet.worker({ way })
      await fleet.started(job, 2)
      zombie.resume()
      return { zombie, heir, job }
    },
    (it) => {
      it('is told by the signal of its job', async (fleet, { zombie, job }) => {
        await fleet.until(() => fleet.aborts(job).some(({ pid }) => pid === zombie.pid), 'the signal aborts')
      })

      it('can’t end the job, which another runs', async (fleet, { zombie, heir, job }) => {
        fleet.openGate('end', zombie.pid)
        await fleet.until(() => fleet.finishes(job).includes(zombie.pid), 'the zombie’s handler ends')
        // All that it has to say is said by then.
        await zombie.stop()
        if (way !== 'guard') {
          const rows = (await fleet.records.tasks()).filter(({ jobRef }) => jobRef !== null)
          assert.deepEqual(
            rows.map(({ processId }) => processId),
            [heir.processId],
          )
        }
        if (way !== 'handOff') assert.equal(await fleet.state(job), 'active')
      })

      it('leaves the end to that other', async (fleet, { heir, job }) => {
        fleet.openGate('end')
        await fleet.until(() => fleet.finishes(job).includes(heir.pid), 'the heir’s handler ends')
        await fleet.ended(job)
        assert.notEqual(await fleet.state(job), 'failed')
        await fleet.finished(await fleet.add())
        assert.deepEqual(
          fleet.runs(job).map(({ pid }) => pid),
          [fleet.runs(job)[0]!.pid, heir.pid],
        )
      })
    },
  )

  area(
    suite,
    `a process that is evicted (${way})`,
    async (fleet) => {
      const monitor = await fleet.monitor()
      const worker = await fleet.worker({ way })
      const job = await fleet.add({ gate: 'end', listens: true })
      await fleet.started(job, 1)
      if (way === 'handOff') await fleet.ended(job)
      await fleet.records.declareDead(worker.processId)
      // So it ends its job before another has it, which must not be an end.
      await fleet.until(() => fleet.told(job, 'cut short').length > 0, 'the signal aborts')
      // An adapter may leave a job to its process for as long as that shows in the queue that it lives.
      await fleet.until(async () => {
        await monitor.cleanupOrphanedTasks()
        return (await fleet.records.tasksOf(worker.processId)).length === 0
      }, `the tasks of ${worker.processId} are recovered`)
      return { worker, job }
    },
    (it) => {
      it('is told by the signal of its job', async (fleet, { worker, job }) => {
        assert.equal(fleet.aborts(job)[0]!.pid, worker.pid)
      })

      it('works on under a new identity, on that job too', async (fleet, { worker, job }) => {
        await fleet.started(job, 2)
        const next = await fleet.add()
        await fleet.finished(next)
        fleet.openGate('end')
        await fleet.ended(job)
        assert.notEqual(await fleet.state(job), 'failed')
        assert.equal(fleet.runs(job).length, 2)
        assert.deepEqual(
          new Set([...fleet.runs(job), ...fleet.runs(next)].map(({ pid }) => pid)),
          new Set([worker.pid]),
        )
        await fleet.settled()
        assert.deepEqual(await fleet.records.tasksOf(worker.processId), [])
      })
    },
  )
}
