import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { until } from '@holdfast/chaos'
import { build, type Format, type Options } from 'tsup'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type * as Core from '../src/index.js'
import config from '../tsup.config.js'
import { fast } from './support/fast.js'
import { Fixture } from './support/fixture.js'
import { tableQueueAdapter } from './support/table-queue.js'

const root = fileURLToPath(new URL('..', import.meta.url))

/** What users run: the published builds, and what bundlers make of them. */
describe('the heartbeat thread is found from', () => {
  let folder: string
  beforeAll(async () => {
    // Below the package, so that its peers are found.
    mkdirSync(join(root, 'node_modules/.cache'), { recursive: true })
    folder = mkdtempSync(join(root, 'node_modules/.cache/build-'))
    const options = config as Options & { entry: string[] }
    await build({
      ...options,
      ...quiet,
      entry: options.entry.map((file) => join(root, file)),
      dts: false,
      sourcemap: false,
      outDir: join(folder, 'dist'),
    })
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const quiet: Options = { config: false, silent: true, clean: false }

  /** Bundles the ESM build and its worker, as `esbuild --bundle` does. */
  async function bundle(format: Format, extension: string): Promise<string> {
    // A path is no URL; vitest can't import from such a one, but require can.
    const outDir = join(folder, `${format === 'cjs' ? '#%41' : 'esm'}${extension}`)
    const entry = {
      index: join(folder, 'dist/index.js'),
      'heartbeat-worker': join(folder, 'dist/heartbeat-worker.js'),
    }
    await build({
      ...quiet,
      entry,
      format,
      outDir,
      splitting: false,
      outExtension: () => ({ js: extension }),
    })
    writeFileSync(
      join(outDir, 'package.json'),
      JSON.stringify({ type: format === 'cjs' ? 'commonjs' : 'module' }),
    )
    return join(outDir, `index${extension}`)
  }

  async function load(file: string): Promise<typeof Core> {
    return file.startsWith(join(folder, '#')) ? createRequire(file)(file) : import(pathToFileURL(file).href)
  }

  it.each([
    ['the ESM build', () => join(folder, 'dist/index.js')],
    ['the CommonJS build', () => join(folder, 'dist/index.cjs')],
    ['a CommonJS bundle', () => bundle('cjs', '.js')],
    ['a CommonJS bundle named .cjs', () => bundle('cjs', '.cjs')],
    ['an ESM bundle', () => bundle('esm', '.js')],
    ['an ESM bundle named .mjs', () => bundle('esm', '.mjs')],
  ])('%s', async (_, file) => {
    await using fixture = await Fixture.create()
    const core = await load(await file())
    const failures: unknown[] = []
    await using monitor = new core.TaskMonitor({
      db: fixture.db,
      adapters: [tableQueueAdapter()],
      ...fast,
      heartbeatThread: true,
      heartbeatConnection: fixture.database.url,
    })
    monitor.on('heartbeatFailed', ({ error }) => failures.push(error))
    await monitor.start()
    const died = (): boolean => failures.some((error) => String(error).includes('thread died'))
    await until(() => died() || monitor.health().heartbeatsThrough === 'thread')
    expect(monitor.health().heartbeatsThrough, failures.join('\n')).toBe('thread')
  })
})
