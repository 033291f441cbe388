import { defineProject, mergeConfig } from 'vitest/config'
import { tests } from '../../testing/base.js'

export default mergeConfig(tests, defineProject({ test: { globalSetup: 'test/support/fresh-build.ts' } }))
