import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/** Tests against real servers and real processes: brought up once, patient, a file at a time per core. */
export const integrationTests = defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: [fileURLToPath(new URL('./tooling/chaos/dist/global-setup.js', import.meta.url))],
    testTimeout: 150_000,
    hookTimeout: 150_000,
    expect: { poll: { timeout: 30_000 } },
    pool: 'forks',
    maxWorkers: 2,
  },
})
