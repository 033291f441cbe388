import assert from 'node:assert/strict'
import type { TestQueue, Way } from '../setup.js'
import { area, type Suite } from '../suite.js'

/** A process that leaves by itself: `monitor.stop()`. */
export function stopping<Queue extends TestQueue>(suite: Suite<Queue>, way: Way): void {
  area(
    suite,
    `a process that stops (${way})`,
    async (fleet) => {
      // Of such a lease nothing comes back by itself within this test.
      const worker = await fleet.worker({ way, monitor: { orphanThreshold: 3_600_000 } })
      const short = await fleet.add({ gate: 'soon' })
      const long = await fleet.add({ gate: 'later' })
      for (const job of [short, long]) {
        await fleet.started(job, 1)
        if (way === 'handOff') await fleet.ended(job)
      }
      const stopped = worker.stop(2_000)
      fleet.openGate('soon')
      await worker.stopping()
      const after = await fleet.add()
      const states = new Set<string | undefined>()
      let over = false
      const watching = fleet.until(async () => {
        states.add(await fleet.state(after))
        return over
      }, 'the process stops')
      await stopped
      over = true
      await watching
      return { worker, short, long, after, states }
    },
    (it) => {
      it('lets end what ends while it drains', async (fleet, { short }) => {
        assert.equal(fleet.finishes(short).length, 1)
        assert.ok([undefined, 'completed'].includes(await fleet.state(short)))
      })

      it('gives back what does not, at once and as no crash', async (fleet, { long }) => {
        assert.equal(await fleet.state(long), 'runnable')
        assert.deepEqual([...(await fleet.records.crashes()).keys()], [])
        assert.deepEqual(await fleet.records.tasks(), [])
      })

      it('takes no more jobs', async (fleet, { after, states }) => {
        assert.deepEqual([...states], ['runnable'])
        assert.equal(await fleet.state(after), 'runnable')
        assert.deepEqual(fleet.runs(after), [])
      })

      it('then ends by itself', async (fleet, { worker }) => {
        fleet.openGate('later')
        assert.deepEqual(await worker.exited, { code: 0, signal: null }, worker.output)
      })

      it('leaves it to others, who run each once', async (fleet, { short, long, after }) => {
        await fleet.worker({ way })
        for (const job of [long, after]) {
          await fleet.started(job, job === long ? 2 : 1)
          await fleet.ended(job)
        }
        await fleet.finished(await fleet.add())
        assert.equal(fleet.runs(short).length, 1)
        assert.equal(fleet.runs(long).length, 2)
        assert.equal(fleet.runs(after).length, 1)
      })
    },
  )
}
