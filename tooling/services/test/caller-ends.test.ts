import { execFileSync } from 'node:child_process'
import { startServices } from '@holdfast/services'
import { describe, expect, test, vi } from 'vitest'
import { type Ending, startCaller } from './support/caller.js'
import { leftovers, ownTemp, useTemp } from './support/temp.js'

const NAMES = ['postgres', 'redis']
const PATIENCE = { timeout: 120_000, interval: 50 }

async function expectNothingLeft(tmp: string): Promise<void> {
  await vi.waitFor(() => expect(leftovers(tmp)).toEqual([]), PATIENCE)
}

describe('nothing is left behind when the caller', () => {
  test.each(['SIGKILL', 'SIGINT', 'SIGTERM', 'SIGHUP'] as const)('is ended by %s', async (signal) => {
    const tmp = ownTemp()
    const caller = startCaller('wait', NAMES, { tmp })
    const { pids } = await caller.started
    expect(pids).toEqual([expect.any(Number), expect.any(Number)])
    expect(leftovers(tmp)).not.toEqual([])
    caller.process.kill(signal)
    await caller.ended
    await expectNothingLeft(tmp)
  })

  test.each<[string, Ending]>([
    ['reaches its end without stopping its services', 'leave'],
    ['calls process.exit', 'exit'],
    ['throws', 'throw'],
  ])('%s', async (_, ending) => {
    const tmp = ownTemp()
    const caller = startCaller(ending, NAMES, { tmp })
    await caller.started
    await caller.ended
    await expectNothingLeft(tmp)
  })

  test('is killed while its services still start', async () => {
    const tmp = ownTemp()
    const caller = startCaller('wait', NAMES, { tmp })
    await vi.waitFor(() => expect(leftovers(tmp).join()).toContain('initdb'), {
      timeout: 120_000,
      interval: 5,
    })
    caller.process.kill('SIGKILL')
    await caller.ended
    await expectNothingLeft(tmp)
  })

  test('is killed while a service is paused', async () => {
    const tmp = ownTemp()
    const caller = startCaller('wait', ['redis'], { tmp })
    const { pids } = await caller.started
    process.kill(pids[0]!, 'SIGSTOP')
    caller.process.kill('SIGKILL')
    await expectNothingLeft(tmp)
  })
})

test('the servers go, too, when the supervisor is killed, and the caller is told', async () => {
  const tmp = ownTemp()
  useTemp(tmp)
  const lines: string[] = []
  const services = await startServices(['redis'], { private: true, log: (line) => lines.push(line) })
  const redis = services.get('redis')
  execFileSync('kill', ['-9', supervisorOf(redis.pid!)])
  await expectNothingLeft(tmp)
  expect(lines).toEqual([expect.stringContaining('was lost with its supervisor')])
  await expect(redis.start()).rejects.toMatchObject({ code: 'SUPERVISOR_FAILED' })
  await services.stop()
})

test('a server that dies by itself is reported and can be started again', async () => {
  const lines: string[] = []
  await using services = await startServices(['redis'], { private: true, log: (line) => lines.push(line) })
  const redis = services.get('redis')
  process.kill(redis.pid!, 'SIGKILL')
  await vi.waitFor(() => expect(redis.pid).toBeUndefined(), PATIENCE)
  expect(lines).toEqual([
    expect.stringMatching(/redis \(process \d+\) was ended by SIGKILL although nobody stopped it/),
  ])
  await redis.start()
  expect(redis.pid).toEqual(expect.any(Number))
})

function supervisorOf(pid: number): string {
  return execFileSync('ps', ['-o', 'ppid=', '-p', String(pid)], { encoding: 'utf8' }).trim()
}
