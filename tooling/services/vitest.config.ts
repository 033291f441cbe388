import { defineProject, mergeConfig } from 'vitest/config'
import { leftToFull, tests } from '../../testing/base.js'

export default mergeConfig(
  tests,
  defineProject({
    test: {
      globalSetup: 'test/support/fresh-build.ts',
      exclude: leftToFull([
        'caller-ends',
        'debian',
        'every-service',
        'failed-start',
        'postgres-memory',
        'users',
      ]),
    },
  }),
)
