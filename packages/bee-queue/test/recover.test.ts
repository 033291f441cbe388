import { randomUUID } from 'node:crypto'
import { until } from '@holdfast/chaos'
import type { DecidedJob, JobOutcome, Orphan, RecoveryContext } from '@holdfast/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type BeeQueueAdapter, beeQueueAdapter } from '../src/index.js'
import { BeeQueue, type Queue, redisOf } from './support/bee.js'
import { Fixture } from './support/fixture.js'

const TIMESTAMP = 1_700_000_000_000
const TEXT = `{"data":{"n":1},"options":{"timestamp":${TIMESTAMP},"stacktraces":[],"retries":2},"status":"created","progress":0}`
const DEAD = 'host:1:dead#1'

interface Situation {
  /** Which lists and sets have the id. */
  readonly in?: readonly ('waiting' | 'active' | 'delayed' | 'succeeded' | 'failed')[]
  /** What is stored under the id. */
  readonly text?: string | null
  readonly owner?: string | null
  /** Redis has restarted or lost data since the job began. */
  readonly lost?: boolean
  readonly kind?: 'track' | 'handOff'
  readonly cause?: Orphan['cause']
  readonly decision?: DecidedJob['decision']
}

describe('the recovery of a job', () => {
  let fixture: Fixture
  let queue: Queue
  let adapter: BeeQueueAdapter
  let server: string
  beforeEach(async () => {
    fixture = await Fixture.create()
    queue = new BeeQueue(fixture.queue.name, { redis: redisOf(fixture.redis) })
    queue.on('error', () => undefined)
    adapter = beeQueueAdapter({ queues: [queue] })
    await queue.ready()
    const info = await fixture.server<string>('info', 'server')
    await fixture.command('set', 'holdfast:epoch', 'e')
    server = `${/run_id:(\w+)/.exec(info)![1]}:e`
  })
  afterEach(async () => {
    await queue.close(50).catch(() => undefined)
    await fixture[Symbol.asyncDispose]()
  })

  async function prepare({ in: places = [], text = TEXT, owner = DEAD }: Situation): Promise<void> {
    if (text !== null) await fixture.command('hset', 'jobs', '7', text)
    if (owner !== null) await fixture.command('hset', 'holdfast:owners', `7@${TIMESTAMP}`, owner)
    for (const place of places) {
      if (place === 'delayed') await fixture.command('zadd', place, Date.now() + 60_000, '7')
      else await fixture.command(place === 'waiting' || place === 'active' ? 'lpush' : 'sadd', place, '7')
    }
  }

  async function recover(situation: Situation, recoveryId: string = randomUUID()): Promise<JobOutcome> {
    const { lost = false, kind = 'track', cause = 'crash', decision = { kind: 'requeue' } } = situation
    const payload = {
      ...{ kind, prefix: fixture.prefix, id: '7', timestamp: TIMESTAMP },
      ...{ token: DEAD, server: lost ? 'before:e' : server, job: TEXT },
    }
    const orphan = { payload, cause } as unknown as Orphan
    const context = { signal: new AbortController().signal } as RecoveryContext
    const [outcome] = await adapter.recover([{ orphan, decision, recoveryId } as DecidedJob], context)
    return outcome!
  }

  const ref = (id = '7') => `${fixture.prefix}${id}@${TIMESTAMP}`
  const requeued = () => ({ kind: 'requeued', jobRef: ref() })
  const other = TEXT.replace(String(TIMESTAMP), '1800000000000')

  it.each<[string, Situation, string, Partial<Record<string, string[]>>]>([
    ['active with the dead', { in: ['active'] }, 'requeued', { waiting: ['7'] }],
    ['waiting, given back by bee-queue’s own check', { in: ['waiting'] }, 'requeued', { waiting: ['7'] }],
    ['begun by another', { in: ['active'], owner: 'host:2:other#1' }, 'superseded', { active: ['7'] }],
    ['popped by another, not begun', { in: ['active'], owner: null }, 'alreadyThere', { active: ['7'] }],
    ['retried, waiting', { in: ['waiting'], owner: null }, 'alreadyThere', { waiting: ['7'] }],
    ['retried, delayed', { in: ['delayed'], owner: null }, 'alreadyThere', { delayed: ['7'] }],
    ['succeeded', { in: ['succeeded'], owner: null }, 'finished', { succeeded: ['7'] }],
    ['failed', { in: ['failed'], owner: null }, 'finished', { failed: ['7'] }],
    ['stored, in no list', {}, 'requeued', { waiting: ['7'] }],
    ['gone with Redis intact', { text: null, owner: null }, 'finished', { jobs: [] }],
    ['removed while it ran', { text: null }, 'finished', { jobs: [] }],
    ['active without its data', { text: null, in: ['active'] }, 'requeued', { waiting: ['7'], jobs: ['7'] }],
    [
      'gone with Redis wiped',
      { text: null, owner: null, lost: true },
      'requeued',
      { waiting: ['7'], jobs: ['7'] },
    ],
    ['active, its owner lost', { in: ['active'], owner: null, lost: true }, 'requeued', { waiting: ['7'] }],
    [
      'waiting, its pop lost',
      { in: ['waiting'], owner: null, lost: true },
      'alreadyThere',
      { waiting: ['7'] },
    ],
    [
      'ended after Redis lost data',
      { in: ['succeeded'], owner: null, lost: true },
      'finished',
      { succeeded: ['7'] },
    ],
    [
      'another’s id, Redis intact',
      { text: other, in: ['waiting'], owner: null },
      'superseded',
      { waiting: ['7'] },
    ],
    ['handed off', { in: ['succeeded'], kind: 'handOff' }, 'requeued', { waiting: ['7'], succeeded: [] }],
    ['handed off and removed', { text: null, kind: 'handOff' }, 'requeued', { waiting: ['7'], jobs: ['7'] }],
    ['handed off, its end not written', { in: ['active'], kind: 'handOff' }, 'requeued', { waiting: ['7'] }],
    [
      'handed off and done',
      { in: ['succeeded'], owner: null, kind: 'handOff' },
      'finished',
      { succeeded: ['7'] },
    ],
    [
      'handed off and retried',
      { in: ['delayed'], owner: null, kind: 'handOff' },
      'alreadyThere',
      { delayed: ['7'] },
    ],
    [
      'handed off, Redis wiped',
      { text: null, owner: null, kind: 'handOff', lost: true },
      'requeued',
      { waiting: ['7'] },
    ],
    [
      'failed, retried by a person',
      { in: ['failed'], owner: null, cause: 'retry' },
      'requeued',
      { waiting: ['7'], failed: [] },
    ],
    [
      'waiting, retried by a person',
      { in: ['waiting'], owner: null, cause: 'retry' },
      'alreadyThere',
      { waiting: ['7'] },
    ],
    ['given back', { in: ['active'], cause: 'release' }, 'requeued', { waiting: ['7'] }],
  ])('that is %s', async (_, situation, kind, holds) => {
    await prepare(situation)
    const nowhere = { waiting: [], active: [], delayed: [], succeeded: [], failed: [] }
    const id = randomUUID()
    const outcome = await recover(situation, id)
    expect(outcome).toEqual(kind === 'requeued' ? requeued() : { kind })
    const after = await fixture.holds()
    expect(after).toMatchObject({ ...nowhere, ...holds })
    expect(await fixture.command('hget', 'holdfast:owners', `7@${TIMESTAMP}`)).toBe(
      kind === 'superseded' && situation.owner ? situation.owner : null,
    )
    if (kind === 'requeued') expect(await fixture.command('hget', 'jobs', '7')).toBe(TEXT)
    // A repeat changes nothing, also once the job has run and is gone.
    expect(await recover(situation, id)).toEqual(outcome)
    expect(await fixture.holds()).toEqual(after)
    if (kind !== 'requeued') return
    await fixture.command('del', 'waiting')
    await fixture.command('del', 'jobs')
    expect(await recover(situation, id)).toEqual(outcome)
    expect((await fixture.holds()).waiting).toEqual([])
  })

  it('whose id another job has after Redis lost it gets an id of its own', async () => {
    await prepare({ text: other, in: ['waiting'], owner: null })
    const id = randomUUID()
    const outcome = await recover({ lost: true }, id)
    const [moved] = (await fixture.holds()).waiting
    expect(moved).toMatch(/^7~[0-9a-f]{12}$/)
    expect(outcome).toEqual({ kind: 'requeued', jobRef: ref(moved) })
    expect(await fixture.command('hget', 'jobs', moved!)).toBe(TEXT)
    expect(await fixture.command('hget', 'jobs', '7')).toBe(other)
    expect(await recover({ lost: true }, id)).toEqual(outcome)
    expect((await fixture.holds()).waiting).toHaveLength(2)
  })

  it('waits for a process that beats in Redis still, when that is why it is orphaned', async () => {
    await prepare({ in: ['active'] })
    await fixture.command('set', 'holdfast:alive:host:1:dead', '9000:60000', 'px', 60_000)
    const outcome = await recover({})
    expect(outcome).toMatchObject({
      kind: 'failed',
      error: expect.objectContaining({ message: expect.stringContaining('host:1:dead still beats') }),
    })
    expect((await fixture.holds()).active).toEqual(['7'])
    expect(await recover({ cause: 'release' })).toEqual(requeued())
  })

  it('does not wait for one whose last heartbeat in Redis is older than its lease', async () => {
    await prepare({ in: ['active'] })
    await fixture.command('set', 'holdfast:alive:host:1:dead', '9000:60000', 'px', 50_000)
    expect(await recover({})).toEqual(requeued())
  })

  it.each<[string, Situation]>([
    ['active', { in: ['active'] }],
    ['waiting, given back by bee-queue’s own check', { in: ['waiting'] }],
    ['lost by Redis', { text: null, owner: null, lost: true }],
  ])('to be quarantined fails visibly (%s)', async (_, situation) => {
    await prepare(situation)
    const heard = new Promise((resolve) =>
      queue.on('job failed', ((id: string, error: Error) => resolve([id, error.message])) as never),
    )
    const decision = { kind: 'quarantine', reason: 'too "often"' } as const
    const id = randomUUID()
    expect(await recover({ ...situation, decision }, id)).toEqual({ kind: 'quarantined' })
    expect(await fixture.holds()).toMatchObject({ waiting: [], active: [], failed: ['7'], jobs: ['7'] })
    expect(JSON.parse(await fixture.command('hget', 'jobs', '7'))).toEqual({
      data: { n: 1 },
      options: { timestamp: TIMESTAMP, stacktraces: ['too "often"'], retries: 2 },
      status: 'failed',
      progress: 0,
    })
    expect(await heard).toEqual(['7', 'too "often"'])
    expect(await recover({ ...situation, decision }, id)).toEqual({ kind: 'quarantined' })
    // Out of quarantine it is as it was.
    expect(await recover({ cause: 'retry' })).toEqual(requeued())
    expect(await fixture.command('hget', 'jobs', '7')).toBe(TEXT)
    expect(await fixture.holds()).toMatchObject({ waiting: ['7'], failed: [] })
  })

  it('of a queue that this process has not is left to others, and says what to do', async () => {
    const stranger = beeQueueAdapter({
      queues: [new BeeQueue('stranger', { redis: redisOf(fixture.redis) })],
    })
    adapter = stranger
    expect(await recover({})).toMatchObject({
      kind: 'failed',
      error: expect.objectContaining({
        message: expect.stringMatching(/No queue with the keys .*give beeQueueAdapter/),
      }),
    })
  })

  it('is remembered for days, and the memory is trimmed', async () => {
    await fixture.command('zadd', 'holdfast:markers', 1, 'old')
    await prepare({ in: ['active'] })
    await recover({})
    const markers = await fixture.command<string[]>('zrange', 'holdfast:markers', 0, -1, 'WITHSCORES')
    expect(markers).toHaveLength(2)
    expect(Number(markers[1]) - Date.now() / 1_000).toBeGreaterThan(6 * 24 * 3_600)
    await until(async () => (await fixture.holds()).waiting.length === 1)
  })
})
