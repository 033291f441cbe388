import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bullmq, connectionOf } from './support/bull.js'
import { Fixture } from './support/fixture.js'

describe('a flow', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const addFlow = async (child: object, options: object = {}): Promise<{ parent: string; child: string }> => {
    const producer = new bullmq.FlowProducer({ connection: connectionOf(fixture.redis) })
    try {
      const queueName = fixture.queue.name
      const { job, children } = await producer.add({
        ...{ name: 'parent', queueName, data: {} },
        children: [{ name: 'child', queueName, data: child, opts: options }],
      })
      return { parent: job.id!, child: children![0]!.job.id! }
    } finally {
      await producer.close()
    }
  }

  it('goes on after its child has crashed, with the child’s result', async () => {
    const victim = await fixture.worker()
    const { parent, child } = await addFlow({ gate: 'open', result: 'from the child' })
    await fixture.started(1)
    await victim.kill()
    await fixture.worker()
    await fixture.started(2)
    expect((await fixture.places())['waiting-children']).toEqual([parent])
    fixture.ledger.openGate('open')
    await fixture.completed(2)
    const job = await fixture.queue.getJob(parent)
    expect(Object.values(await job!.getChildrenValues())).toEqual(['from the child'])
    expect(fixture.ledger.entries('start').map(({ job }) => job)).toEqual([child, child, parent])
  })

  it('whose parent has committed before its child has ended: that keeps its lock, and is completed then', async () => {
    await sql`create table effects (job varchar(64) not null)`.execute(fixture.db)
    await fixture.worker({ settings: { lockDuration: 1_000, stalledInterval: 200 } })
    const parent = await fixture.add({ endings: ['commit and go on'] }, { attempts: 3 })
    await until(async () => (await sql`select * from effects`.execute(fixture.db)).rows.length === 1)
    await fixture.add({ gate: 'child' }, { parent: { id: parent.id, queue: fixture.queue.qualifiedName } })
    await fixture.started(2)
    fixture.ledger.openGate(parent.id)
    const told = () =>
      fixture.ledger.entries('error').filter(({ detail }) => String(detail).includes('pending'))
    await until(() => told().length > 10, { what: 'its end is refused for longer than its lock lasts' })
    expect(await fixture.client.exists(`${fixture.keys}${parent.id}:lock`)).toBe(1)
    fixture.ledger.openGate('child')
    await fixture.completed(2)
    await fixture.settled()
    expect(fixture.ledger.entries('start', parent.id)).toHaveLength(1)
    expect(await fixture.hash(parent.id)).not.toHaveProperty('stc')
  })

  it('hears that its child is given up', async () => {
    const { parent, child } = await addFlow({ kill: true }, { failParentOnFailure: true, attempts: 3 })
    for (let runs = 1; runs <= 2; runs++) {
      const killed = await fixture.worker({ monitor: { maxRecoveries: 1 } })
      await killed.exited
    }
    await fixture.worker({ monitor: { maxRecoveries: 1 } })
    await until(async () => (await fixture.places()).failed.length === 2)
    expect((await fixture.places()).failed.sort()).toEqual([parent, child].sort())
    expect((await fixture.hash(parent)).failedReason).toContain(child)
    await until(async () => (await fixture.quarantine()).length === 1)
  })
})
