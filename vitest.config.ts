import { defineConfig } from 'vitest/config'
import { newestAlone, projects } from './testing/legs.js'
import { TestOrder } from './testing/order.js'

export default defineConfig({
  test: {
    projects: newestAlone
      ? [...projects]
      : [
          'packages/!(adapter-testkit|core|bee-queue|bullmq|graphile-worker|pg-boss)',
          'testing',
          'tooling/*',
          'examples/*/vitest.config.ts',
          ...projects,
        ],
    sequence: { sequencer: TestOrder },
  },
})
