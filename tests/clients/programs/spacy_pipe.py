import spacy

if __name__ == "__main__":
    language = spacy.blank("en")
    documents = language.pipe([f"This is text {n}." for n in range(50)], n_process=2, batch_size=5)
    assert sum(len(document) for document in documents) == 250
    print("ok")
