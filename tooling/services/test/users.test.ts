import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { readableInvocation } from '../src/pgbouncer/binary.js'
import { findPostgres } from '../src/postgres/binaries.js'
import { readableBin } from '../src/postgres/readable-bin.js'
import { run } from '../src/process/run.js'
import { findServiceUser, findTempBase } from '../src/process/service-user.js'
import { parseSpecs } from '../src/spec.js'
import { startCaller } from './support/caller.js'
import { clientOf } from './support/clients.js'
import { leftovers, ownTemp, useTemp } from './support/temp.js'

const NOBODY = { uid: 65_534, gid: 65_534 }
const isRoot = process.getuid?.() === 0

test('a caller who is not root starts servers of his own', async ({ skip }) => {
  if (!isRoot) skip('the other tests ran as a user who is not root already')
  const usable = (
    await run('test', ['-r', join(import.meta.dirname, 'support', 'caller.mjs')], { ...NOBODY, cwd: '/' })
  ).ok
  if (!usable) skip('this checkout is in a folder that no other user can enter')
  const tmp = ownTemp()
  const caller = startCaller('wait', ['postgres', 'pgbouncer', 'mariadb', 'mysql', 'redis'], {
    tmp,
    ...NOBODY,
  })
  const { urls } = await caller.started
  for (const url of Object.values(urls)) expect(await clientOf(url).version()).toMatch(/^\d/)
  caller.process.kill('SIGKILL')
  // What was unpacked stays: it is kept for the next time, with the temporary files of a user without a home.
  const left = () => leftovers(tmp).filter((name) => !name.startsWith('cache-of-holdfast-'))
  await vi.waitFor(() => expect(left()).toEqual([]), { timeout: 120_000, interval: 50 })
})

test('root runs Postgres from a checkout that only root can enter', async ({ skip }) => {
  if (!isRoot) skip('only root runs Postgres as somebody else')
  const user = await findServiceUser()
  expect(user).toBeDefined()
  const home = mkdtempSync(join(tmpdir(), 'services-home-'))
  onTestFinished(() => rmSync(home, { recursive: true, force: true }))
  const { prefix } = await findPostgres(parseSpecs(['postgres'])[0]!)
  cpSync(prefix!, join(home, 'native'), { recursive: true, verbatimSymlinks: true })
  const binaries = { bin: join(home, 'native', 'bin'), prefix: join(home, 'native') }

  chmodSync(home, 0o755)
  expect(await readableBin(binaries, user, ownTemp())).toBe(binaries.bin)
  chmodSync(home, 0o700)
  const copy = await readableBin(binaries, user, ownTemp())
  expect(copy).not.toBe(binaries.bin)
  expect(await run(join(copy, 'postgres'), ['--version'], { ...user, cwd: '/' })).toMatchObject({ ok: true })
})

test('root runs PgBouncer from a cache that only root can enter', async ({ skip }) => {
  if (!isRoot) skip('only root runs PgBouncer as somebody else')
  const user = await findServiceUser()
  const cache = ownTemp()
  const libraries = join(cache, 'usr', 'lib', 'some-linux-gnu')
  mkdirSync(libraries, { recursive: true })
  // What is unpacked is run by the loader that comes with it.
  writeFileSync(join(libraries, 'ld-linux.so'), '#!/bin/sh\necho PgBouncer 1.24.1\n', { mode: 0o755 })

  expect((await readableInvocation(cache, user, ownTemp())).command).toBe(join(libraries, 'ld-linux.so'))
  chmodSync(cache, 0o700)
  const folder = ownTemp()
  const { command, firstArgs } = await readableInvocation(cache, user, folder)
  for (const path of [command, firstArgs.at(-1)]) expect(path).toContain(folder)
  expect(await run(command, firstArgs, { ...user, cwd: '/' })).toMatchObject({ ok: true })
})

test('a temporary folder that only root can enter is passed over', async ({ skip }) => {
  if (!isRoot) skip('only root runs Postgres as somebody else')
  const tmp = ownTemp()
  useTemp(tmp)
  const user = await findServiceUser()
  expect(await findTempBase(user)).toBe(tmp)
  chmodSync(tmp, 0o700)
  expect(await findTempBase(user)).not.toBe(tmp)
  expect(await findTempBase(undefined)).toBe(tmp)
})
