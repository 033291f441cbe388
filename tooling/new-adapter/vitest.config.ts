import { defineProject, mergeConfig } from 'vitest/config'
import { integrationTests } from '../../testing/base.js'

export default mergeConfig(integrationTests, defineProject({ test: { name: 'new-adapter' } }))
