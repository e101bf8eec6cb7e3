import gymnasium

if __name__ == "__main__":
    environments = gymnasium.vector.AsyncVectorEnv(
        [lambda: gymnasium.make("CartPole-v1")] * 2, shared_memory=True
    )
    observations, _ = environments.reset(seed=1)
    for _ in range(10):
        observations, *_ = environments.step(environments.action_space.sample())
    environments.close()
    assert observations.shape == (2, 4)
    print("ok")
