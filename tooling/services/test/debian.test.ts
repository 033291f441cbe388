import { readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findMirror } from '../src/debian/mirror.js'
import { unpack } from '../src/debian/unpack.js'
import { isExecutable } from '../src/process/find-executable.js'
import { ownTemp } from './support/temp.js'

test('two processes may unpack the same package at once, and leave nothing but the result', async ({
  skip,
}) => {
  const mirror = await findMirror()
  if (!mirror) return skip("no Debian mirror is among this machine's apt sources")
  const cache = ownTemp()
  const target = join(cache, 'hello')
  await Promise.all([
    unpack('hello', 'unstable', mirror, target),
    unpack('hello', 'unstable', mirror, target),
  ])
  expect(readdirSync(cache)).toEqual(['hello'])
  expect(await isExecutable(realpathSync(join(target, 'usr', 'bin', 'hello')))).toBe(true)
})
