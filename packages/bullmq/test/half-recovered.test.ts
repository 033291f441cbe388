import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a recovery that dies between taking a job and moving it on', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const takenByDying = async (
    way: 'track' | 'handOff',
    monitor: object = {},
    before: (id: string) => Promise<unknown> = async () => undefined,
  ): Promise<string> => {
    const victim = await fixture.worker({ way, monitor })
    const job = await fixture.add({ gate: 'open' }, { attempts: 3 })
    await fixture.started(1)
    await before(job.id)
    const settings = { autorun: false, concurrency: 1 }
    const dying = await fixture.worker({ way: 'guard', diesRecovering: true, settings, monitor })
    await victim.kill()
    expect(await dying.exited).toMatchObject({ signal: 'SIGKILL' })
    const { active, wait } = await fixture.places()
    expect([active, wait]).toEqual([[job.id], []])
    return job.id
  }

  it.each(['track', 'handOff'] as const)(
    'is finished by the next one, and runs the job once (%s)',
    async (way) => {
      const id = await takenByDying(way)
      await fixture.worker({ way })
      await fixture.started(2)
      fixture.ledger.openGate('open')
      await fixture.completed(1)
      await fixture.settled()
      expect(fixture.ledger.entries('start')).toHaveLength(2)
      expect(await fixture.hash(id)).toMatchObject({ atm: '1' })
      await expect.poll(() => fixture.crashes()).toEqual([1])
    },
  )

  it('is finished by the next one, though its lock has run out, and others had fetched the job before it', async () => {
    const { client, keys } = fixture
    const monitor = { heartbeatInterval: 500, orphanThreshold: 3_000 }
    const id = await takenByDying('track', monitor, (id) =>
      // It had stalled, and whoever got it has put it back.
      client
        .multi()
        .hincrby(keys + id, 'stc', 1)
        .hincrby(keys + id, 'ats', 2)
        .lrem(`${keys}active`, 0, id)
        .zadd(`${keys}delayed`, '9007199254740991', id)
        .del(`${keys}${id}:lock`)
        .exec(),
    )
    await client.del(`${keys}${id}:lock`)
    await fixture.worker({ monitor, settings: { skipStalledCheck: true } })
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    await expect.poll(() => fixture.crashes()).toEqual([1])
  })

  it('leaves no job to run that was to be failed, even if BullMQ gives it out first', async () => {
    const id = await takenByDying('track', { onCrash: 'quarantine' })
    // What BullMQ’s stalled check does when the lock has run out.
    await fixture.client.del(`${fixture.keys}${id}:lock`)
    const job = await fixture.queue.getJob(id)
    expect(job!.deferredFailure).toContain('quarantine')
    await fixture.worker({
      monitor: { onCrash: 'quarantine' },
      settings: { stalledInterval: 100, maxStalledCount: 9 },
    })
    await expect.poll(async () => (await fixture.places()).failed).toEqual([id])
    await expect.poll(() => fixture.quarantine()).toHaveLength(1)
    expect(fixture.ledger.entries('start')).toHaveLength(1)
  })
})
