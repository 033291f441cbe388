import { fileURLToPath } from 'node:url'
import { defineProject, mergeConfig } from 'vitest/config'
import { integrationTests } from '../../vitest.base.js'

export default mergeConfig(
  integrationTests,
  defineProject({ root: fileURLToPath(new URL('.', import.meta.url)), test: { name: 'adapter-testkit' } }),
)
