import { defineProject, mergeConfig } from 'vitest/config'
import { integrationTests, leftToFull } from '../../testing/base.js'

export default mergeConfig(integrationTests, defineProject({ test: { exclude: leftToFull(['**/*']) } }))
