import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makePackage } from '../src/make-package.js'

const workspace = fileURLToPath(new URL('../../../', import.meta.url))
const here = fileURLToPath(new URL('..', import.meta.url))
const SHARED = ['tsconfig.base.json', 'tsup.base.ts', 'testing', 'tooling', 'LICENSE']

describe('pnpm new:adapter', () => {
  let root: string
  let home: string
  beforeAll(() => {
    // Inside of this package, so that what the template needs is found.
    mkdirSync(join(here, 'node_modules/.cache'), { recursive: true })
    root = mkdtempSync(join(here, 'node_modules/.cache/workspace-'))
    for (const file of SHARED) symlinkSync(join(workspace, file), join(root, file))
    makePackage(root, 'carrier-pigeon')
    home = join(root, 'packages/carrier-pigeon')
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  const run = (bin: string, ...args: string[]) => {
    const { stdout, stderr, status } = spawnSync(join(workspace, 'node_modules/.bin', bin), args, {
      cwd: home,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    })
    return { output: `${stdout}${stderr}`, status }
  }

  it('makes a package that is named everywhere, and compiles', () => {
    const { name } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
    expect(name).toBe('@holdfast/carrier-pigeon')
    expect(readFileSync(join(home, 'src/adapter.ts'), 'utf8')).toContain(
      'export function carrierPigeonAdapter(',
    )
    expect(readFileSync(join(home, 'README.md'), 'utf8')).toContain('## When not to add Holdfast')
    expect(run('tsc', '-p', '.')).toEqual({ output: '', status: 0 })
    expect(run('tsup').status).toBe(0)
    expect(existsSync(join(home, 'dist/index.cjs'))).toBe(true)
  })

  it('whose conformance tests fail, and say where to begin', () => {
    const { output, status } = run('vitest', 'run', '-t', 'the adapter')
    expect(status).toBe(1)
    expect(output).toContain('Not written yet: the address of the queue')
    expect(output).toContain('test/support/kit-queue.ts')
  })

  it.each(['Pigeon', '../pigeon', 'a--b', '@x/y', '7up', ''])('refuses %j as a name', (name) => {
    expect(() => makePackage(root, name)).toThrow(/is no name for a package: use small letters/)
  })

  it('makes none where there is one', async () => {
    expect(() => makePackage(root, 'carrier-pigeon')).toThrow(/is there already: take another name/)
    const cli = join(here, 'dist/cli.js')
    const failure = promisify(execFile)(process.execPath, [cli, 'core'])
    await expect(failure).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('packages/core') })
    await expect(promisify(execFile)(process.execPath, [cli])).rejects.toMatchObject({ code: 2 })
  })
})
