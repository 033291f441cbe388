import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { isTen } from './support/boss.js'
import { Fixture } from './support/fixture.js'
import { Recovering } from './support/recovering.js'

let fixture: Fixture
let recovering: Recovering
beforeAll(async () => {
  fixture = await Fixture.create()
  recovering = await Recovering.of(fixture)
})
afterEach(() => fixture.empty(['p', 'dead']))
afterAll(async () => {
  await recovering[Symbol.asyncDispose]()
  await fixture[Symbol.asyncDispose]()
})

const policies = ['short', 'singleton', 'stately', ...(isTen ? [] : ['exclusive', 'key_strict_fifo'])]

it.each(policies)('a job of a queue with policy %s is put back in its place', async (policy) => {
  await fixture.boss.createQueue('p', { name: 'p', policy })
  const id = await fixture.add({}, { singletonKey: 'k' }, 'p')
  const payload = await recovering.fetch('track', 'p')
  // Which the policy allows while the first is active.
  await fixture.boss.send('p', {}, { singletonKey: 'k' })
  expect(await recovering.recover([payload])).toMatchObject([{ kind: 'requeued' }])
  expect(await fixture.job(id)).toMatchObject({ state: 'retry' })
})

it('a job whose retry another one waits for is put back as if it were new', async () => {
  await fixture.boss.createQueue('p', { name: 'p', policy: 'stately' })
  const first = await fixture.add({}, { singletonKey: 'k', retryDelay: 60 }, 'p')
  await recovering.fetch('track', 'p')
  const second = await fixture.add({}, { singletonKey: 'k' }, 'p')
  await fixture.boss.fail('p', first)
  const payload = await recovering.fetch('track', 'p')
  expect(payload.id).toBe(second)
  expect(await recovering.recover([payload])).toMatchObject([{ kind: 'requeued' }])
  expect(await fixture.job(second)).toMatchObject({ state: 'created', retry_count: 0 })
  expect(await fixture.job(first)).toMatchObject({ state: 'retry' })
})

it('a job that has no place left stands failed, and harms no other of its batch', async () => {
  await fixture.boss.createQueue('p', { name: 'p', policy: 'stately' })
  const first = await fixture.add({}, { singletonKey: 'k', retryDelay: 60 }, 'p')
  await recovering.fetch('track', 'p')
  const second = await fixture.add({}, { singletonKey: 'k' }, 'p')
  await fixture.boss.fail('p', first)
  const payload = await recovering.fetch('track', 'p')
  await fixture.add({}, { singletonKey: 'k' }, 'p')
  await fixture.add()
  const other = await recovering.fetch()
  expect(await recovering.recover([payload, other])).toMatchObject([
    { kind: 'superseded' },
    { kind: 'requeued' },
  ])
  const output = { message: expect.stringContaining('another job has its place') }
  expect(await fixture.job(second)).toMatchObject({ state: 'failed', output })
  expect(await fixture.job(other.id)).toMatchObject({ state: 'retry' })
})

it('a queue that is gone keeps its handed-off job for when it is there again, and harms no other', async () => {
  await fixture.boss.createQueue('p', { name: 'p' })
  const id = await fixture.add({ n: 1 }, {}, 'p')
  const payload = await recovering.handOff('p')
  await fixture.boss.deleteJob('p', id)
  await fixture.boss.deleteQueue('p')
  await fixture.add()
  const other = await recovering.fetch()
  const error = { message: `Queue "p" is gone: create it again, and job ${id} goes on.` }
  expect(await recovering.recover([payload, other])).toMatchObject([
    { kind: 'failed', error },
    { kind: 'requeued' },
  ])
  await fixture.boss.createQueue('p', { name: 'p' })
  expect(await recovering.recover([payload])).toMatchObject([{ kind: 'requeued' }])
  expect(await fixture.job(id)).toMatchObject({ state: 'retry', data: { n: 1 } })
})

it.runIf(!isTen)(
  'a handed-off job of a strict order (of 12) comes next, though the next one has begun',
  async () => {
    await fixture.boss.createQueue('p', { name: 'p', policy: 'key_strict_fifo' })
    const first = await fixture.add({}, { singletonKey: 'k' }, 'p')
    const payload = await recovering.handOff('p')
    await fixture.add({}, { singletonKey: 'k' }, 'p')
    await recovering.fetch('track', 'p')
    expect(await recovering.recover([payload])).toMatchObject([{ kind: 'requeued' }])
    expect(await fixture.job(first)).toMatchObject({ state: 'created' })
  },
)

it.runIf(!isTen)('a queue with a table of its own (since 12) is recovered in that', async () => {
  await fixture.boss.createQueue('p', { name: 'p', partition: true })
  const id = await fixture.add({}, {}, 'p')
  const payload = await recovering.handOff('p')
  expect(await recovering.recover([payload])).toMatchObject([{ kind: 'requeued' }])
  expect(await recovering.fetch('track', 'p')).toMatchObject({ id, retryCount: 1 })
})

it('a dead letter queue that is gone takes no handed-off job with it', async () => {
  await fixture.boss.createQueue('dead', { name: 'dead' })
  const id = await fixture.add({}, { deadLetter: 'dead' })
  const payload = await recovering.handOff()
  await fixture.boss.deleteJob('q', id)
  await fixture.boss.deleteQueue('dead')
  expect(await recovering.recover([payload])).toMatchObject([{ kind: 'requeued' }])
  expect(await fixture.job(id)).toMatchObject({ state: 'retry' })
})
