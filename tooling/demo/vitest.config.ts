import { defineProject, mergeConfig } from 'vitest/config'
import { leftToFull, tests } from '../../testing/base.js'

export default mergeConfig(tests, defineProject({ test: { exclude: leftToFull(['interrupt', 'sabotage']) } }))
