import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startServices } from '@holdfast/services'
import { expect, test } from 'vitest'
import { ownTemp, useTemp } from './support/temp.js'

const SEGMENTS = '/proc/sysvipc/shm'

test('a killed Postgres leaves no shared memory behind', async ({ skip }) => {
  if (!existsSync(SEGMENTS)) skip('only Linux lists the segments of shared memory as a file')
  const tmp = ownTemp()
  useTemp(tmp)
  await using services = await startServices(['postgres'], { private: true })
  const [folder] = readdirSync(tmp)
  const lines = readFileSync(join(tmp, folder!, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')
  const id = lines[6]!.trim().split(/\s+/)[1]!
  expect(segmentIds()).toContain(id)
  await services.get('postgres').kill()
  expect(segmentIds()).not.toContain(id)
})

function segmentIds(): string[] {
  const [, ...rows] = readFileSync(SEGMENTS, 'utf8').trim().split('\n')
  return rows.map((row) => row.trim().split(/\s+/)[1]!)
}
