import assert from 'node:assert/strict'
import type { TestQueue, Way } from '../setup.js'
import { area, type Suite } from '../suite.js'

/** How a job runs to its end where nothing goes wrong, or only the job itself does. */
export function running<Queue extends TestQueue>(suite: Suite<Queue>, way: Way): void {
  area(
    suite,
    `a job that runs (${way})`,
    async (fleet) => fleet.worker({ way, concurrency: 10 }),
    (it) => {
      const meanwhile = {
        track: 'is active in its queue, and has one task row',
        handOff: 'has ended for its queue, and has one task row',
        guard: 'is active in its queue, and shares the task row of its worker',
      }[way]
      it(meanwhile, async (fleet, { processId }) => {
        const jobs = [await fleet.add({ gate: 'done' }), await fleet.add({ gate: 'done' })]
        for (const job of jobs) await fleet.started(job, 1)
        if (way === 'handOff') for (const job of jobs) await fleet.ended(job)
        else for (const job of jobs) assert.equal(await fleet.state(job), 'active')
        const rows = await fleet.records.tasksOf(processId)
        const refs = rows.flatMap(({ jobRef }) => jobRef ?? []).sort()
        if (way === 'guard') assert.deepEqual([rows.length, refs], [1, []])
        else assert.deepEqual(refs, jobs.map(({ jobRef }) => jobRef).sort())
        fleet.openGate('done')
        for (const job of jobs) await fleet.finished(job)
      })

      it('leaves no row when it has ended, and runs once', async (fleet) => {
        const jobs = [await fleet.add(), await fleet.add(), await fleet.add()]
        for (const job of jobs) {
          await fleet.finished(job)
          await fleet.ended(job)
        }
        await fleet.settled()
        for (const job of jobs) {
          assert.equal(fleet.runs(job).length, 1)
          assert.notEqual(await fleet.state(job), 'failed')
        }
      })

      // Handed off, it has ended for its queue from the first, and the row says that its work has not.
      if (way === 'track') {
        it('comes back no more when only its row was left', async (fleet) => {
          const job = await fleet.add({ gate: 'end' })
          await fleet.started(job, 1)
          const row = await fleet.records.copyOf(job.jobRef)
          fleet.openGate('end')
          await fleet.finished(job)
          await fleet.ended(job)
          await fleet.settled()
          await row.restore('gone:1:0000000000000000')
          await fleet.recover(await fleet.monitor(), 'gone:1:0000000000000000')
          assert.deepEqual(await fleet.records.tasksOf('gone:1:0000000000000000'), [])
          await fleet.finished(await fleet.add())
          assert.equal(fleet.runs(job).length, 1)
        })
      }

      it('and fails is tried again as its queue has it', async (fleet) => {
        const job = await fleet.add({ fails: 1 }, { maxAttempts: 3 })
        await fleet.finished(job)
        await fleet.ended(job)
        assert.equal(fleet.runs(job).length, 2)
        await fleet.settled()
      })

      it('and fails too often stands failed, or is gone, as its queue has it', async (fleet) => {
        const job = await fleet.add({ fails: 9 }, { maxAttempts: 1 })
        await fleet.started(job, 1)
        await fleet.ended(job)
        await fleet.settled()
        assert.notEqual(await fleet.state(job), 'completed')
        await fleet.finished(await fleet.add())
        assert.equal(fleet.runs(job).length, 1)
        assert.deepEqual(fleet.finishes(job), [])
      })
    },
  )
}
