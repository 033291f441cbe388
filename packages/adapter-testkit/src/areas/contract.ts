import assert from 'node:assert/strict'
import type { TestQueue } from '../setup.js'
import { area, type Suite } from '../suite.js'

const HOOKS = ['expand', 'onSweep', 'onStart', 'onEvicted', 'onStop'] as const

/** What can be said of an adapter by looking at it. */
export function contract<Queue extends TestQueue>(suite: Suite<Queue>): void {
  area(
    suite,
    'the adapter',
    async (fleet) => {
      const { adapter, close } = await fleet.queue.connect()
      return { adapter, close }
    },
    (it) => {
      it('has a name, that no database changes', async (_, { adapter }) => {
        assert.equal(typeof adapter.name, 'string')
        assert.notEqual(adapter.name, '')
        assert.equal(adapter.name, adapter.name.trim())
      })

      it('is frozen, and so are its capabilities', async (_, { adapter }) => {
        assert.ok(Object.isFrozen(adapter))
        assert.ok(Object.isFrozen(adapter.capabilities))
      })

      it('declares each capability, and no other', async (_, { adapter }) => {
        const types = Object.entries(adapter.capabilities).map(([name, value]) => [name, typeof value])
        assert.deepEqual(Object.fromEntries(types), {
          atomicRecovery: 'boolean',
          preservesJobId: 'boolean',
          delay: 'boolean',
        })
      })

      it('has functions where the contract has them', async (_, { adapter }) => {
        assert.equal(typeof adapter.recover, 'function')
        for (const hook of HOOKS) assert.ok(['function', 'undefined'].includes(typeof adapter[hook]), hook)
      })

      it('is of use to several monitors, each with one of its own', async (fleet, { adapter, close }) => {
        const [one, another] = [await fleet.monitor(), await fleet.monitor()]
        assert.notEqual(one.processId, another.processId)
        assert.equal((await fleet.queue.connect()).adapter.name, adapter.name)
        await close?.()
      })
    },
  )
}
