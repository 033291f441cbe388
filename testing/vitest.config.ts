import { defineProject, mergeConfig } from 'vitest/config'
import { tests } from './base.js'

export default mergeConfig(tests, defineProject({ test: { name: 'testing' } }))
