import { until } from '@holdfast/chaos'
import { expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

const VERSIONS = {
  '0.16.6': 'graphile-worker-16',
  '0.17.3': 'graphile-worker',
  '0.18.0': 'graphile-worker-18',
}

it('a fleet that goes from 0.16 over 0.17 to 0.18 with jobs in flight loses none, whoever is killed meanwhile', async () => {
  const old = await import(VERSIONS['0.16.6'])
  await using fixture = await Fixture.create({ schemaOf: old })
  const worker = (version: keyof typeof VERSIONS) =>
    fixture.worker({ env: { HOLDFAST_TEST_GRAPHILE_WORKER: VERSIONS[version] }, pollInterval: 200 })
  const tasks = ['guarded', 'tracked', 'handed'] as const
  const addAll = async (): Promise<void> => {
    for (const task of tasks) await fixture.add(task, { gate: 'open' }, { queueName: `${task} in order` })
    for (const task of tasks) await fixture.add(task, { gate: 'open' })
  }
  let [leaving, staying] = [await worker('0.16.6'), await worker('0.16.6')]
  await addAll()
  await fixture.started(6)
  // Each newer one migrates graphile-worker's schema under the older ones; then those are killed.
  for (const version of ['0.17.3', '0.18.0'] as const) {
    const newer = await worker(version)
    expect(newer.messages).toContainEqual(expect.objectContaining({ type: 'ready', graphile: version }))
    const before = (await fixture.ledger('start')).filter(({ pid }) => pid === leaving.pid).length
    const starts = (await fixture.ledger('start')).length
    await leaving.kill()
    await fixture.started(starts + before)
    ;[leaving, staying] = [staying, newer]
  }
  await leaving.kill()
  await fixture.openGate('open')
  const ends = async (): Promise<Set<string>> =>
    new Set((await fixture.ledger('finish')).map(({ job }) => job))
  await until(async () => (await fixture.jobs()).length === 0 && (await fixture.tasks()).length === 1)
  expect((await ends()).size).toBe(6)
  expect(await fixture.ledger('finish')).toHaveLength(6)
  expect(await fixture.lockedQueues()).toEqual([])
  expect(staying.process.exitCode).toBeNull()
})
