import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig, mergeConfig } from 'vitest/config'
import { patternOf } from './files.js'

/** Files at a time to each core: tests wait a lot, for leases and for each other's processes. */
const PER_CORE = 2

/** Milliseconds after which a test hangs. What is waited for has limits of its own, which go by how busy the machine is. */
const HANGS = 600_000

/** Whether this run is to leave nothing out. */
export const full = process.env.HOLDFAST_TEST_FULL !== undefined

/** Patterns of files that `npm test` leaves to `test:full`, to be excluded. */
export const leftToFull = (files: readonly string[]): string[] => (full ? [] : files.map(patternOf))

/** Tests with real processes, on machines that may be busy. */
export const tests = defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: HANGS,
    hookTimeout: HANGS,
    expect: { poll: { timeout: 120_000, interval: 100 } },
    pool: 'forks',
    maxWorkers: PER_CORE * availableParallelism(),
  },
})

/** The same against real servers, which are brought up once. */
export const integrationTests = mergeConfig(
  tests,
  defineConfig({
    test: {
      globalSetup: [fileURLToPath(new URL('../tooling/chaos/dist/global-setup.js', import.meta.url))],
    },
  }),
)
