import { defineProject, mergeConfig } from 'vitest/config'
import { integrationTests } from '../../testing/base.js'

// The servers that the tests need beside Postgres: `env: { HOLDFAST_TEST_SERVICES: 'redis' }` in `test`.
export default mergeConfig(integrationTests, defineProject({ test: { name: 'my-queue' } }))
